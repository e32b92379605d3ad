// SPDX-License-Identifier: GPL-2.0-only
/* The module, its parent device and the mdevs' types. */

#include <linux/device.h>
#include <linux/init.h>
#include <linux/module.h>

#include "testdev.h"

#define TESTDEV_NAME		"vfio_testdev"
#define TESTDEV_INSTANCES	64

#define TESTDEV_TYPE(_name, _pretty, _migration, _log) {	\
	.type = {						\
		.sysfs_name = _name,				\
		.pretty_name = _pretty,				\
	},							\
	.migration = _migration,				\
	.log = _log,						\
}

static struct testdev_type testdev_types[] = {
	TESTDEV_TYPE("full", "STOP_COPY, P2P, PRE_COPY, DMA log",
		     VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY,
		     true),
	TESTDEV_TYPE("nolog", "STOP_COPY, P2P, PRE_COPY",
		     VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY,
		     false),
	TESTDEV_TYPE("precopy", "STOP_COPY, PRE_COPY",
		     VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_PRE_COPY, false),
	TESTDEV_TYPE("p2p", "STOP_COPY, P2P",
		     VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P, false),
	TESTDEV_TYPE("stopcopy", "STOP_COPY", VFIO_MIGRATION_STOP_COPY, false),
	TESTDEV_TYPE("fixed", "no migration", 0, false),
};

static struct mdev_type *testdev_mdev_types[ARRAY_SIZE(testdev_types)];
static struct mdev_parent testdev_parent;
static struct device *testdev_parent_dev;
/* Where devices write, and look for data that became dirty. */
struct workqueue_struct *testdev_wq;

static const struct class testdev_class = {
	.name	= TESTDEV_NAME,
};

static int testdev_probe(struct mdev_device *mdev)
{
	struct testdev_type *type = container_of(mdev->type, struct testdev_type, type);
	struct testdev *dev;
	int ret;

	dev = vfio_alloc_device(testdev, vdev, &mdev->dev, &testdev_ops);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	if (type->migration) {
		dev->vdev.migration_flags = type->migration;
		dev->vdev.mig_ops = &testdev_migration_ops;
	}
	if (type->log)
		dev->vdev.log_ops = &testdev_log_ops;
	dev_set_drvdata(&mdev->dev, dev);

	ret = vfio_register_emulated_iommu_dev(&dev->vdev);
	if (ret)
		goto err_put;
	return 0;

err_put:
	vfio_put_device(&dev->vdev);
	return ret;
}

/* Its sysfs files have gone by now; unregistering waits until it is closed. */
static void testdev_remove(struct mdev_device *mdev)
{
	struct testdev *dev = dev_get_drvdata(&mdev->dev);

	WRITE_ONCE(dev->gone, true);
	testdev_wake(dev);
	vfio_unregister_group_dev(&dev->vdev);
	vfio_put_device(&dev->vdev);
}

static ssize_t testdev_show_description(struct mdev_type *type, char *buf)
{
	return sysfs_emit(buf, "a PCI device for tests: %s\n", type->pretty_name);
}

static struct mdev_driver testdev_driver = {
	.device_api		= VFIO_DEVICE_API_PCI_STRING,
	.max_instances		= TESTDEV_INSTANCES,
	.probe			= testdev_probe,
	.remove			= testdev_remove,
	.show_description	= testdev_show_description,
	.driver = {
		.name		= TESTDEV_NAME,
		.owner		= THIS_MODULE,
		.mod_name	= KBUILD_MODNAME,
		.dev_groups	= testdev_groups,
	},
};

static int __init testdev_init(void)
{
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(testdev_types); i++)
		testdev_mdev_types[i] = &testdev_types[i].type;

	testdev_wq = alloc_workqueue(TESTDEV_NAME, WQ_UNBOUND, 0);
	if (!testdev_wq)
		return -ENOMEM;

	ret = class_register(&testdev_class);
	if (ret)
		goto err_wq;

	ret = mdev_register_driver(&testdev_driver);
	if (ret)
		goto err_class;

	testdev_parent_dev = device_create(&testdev_class, NULL, 0, NULL, TESTDEV_NAME);
	if (IS_ERR(testdev_parent_dev)) {
		ret = PTR_ERR(testdev_parent_dev);
		goto err_driver;
	}

	ret = mdev_register_parent(&testdev_parent, testdev_parent_dev, &testdev_driver,
				   testdev_mdev_types, ARRAY_SIZE(testdev_mdev_types));
	if (ret)
		goto err_device;
	return 0;

err_device:
	device_unregister(testdev_parent_dev);
err_driver:
	mdev_unregister_driver(&testdev_driver);
err_class:
	class_unregister(&testdev_class);
err_wq:
	destroy_workqueue(testdev_wq);
	return ret;
}
module_init(testdev_init);

static void __exit testdev_exit(void)
{
	mdev_unregister_parent(&testdev_parent);
	device_unregister(testdev_parent_dev);
	mdev_unregister_driver(&testdev_driver);
	class_unregister(&testdev_class);
	destroy_workqueue(testdev_wq);
}
module_exit(testdev_exit);

MODULE_DESCRIPTION("A VFIO device with migration, for tests");
MODULE_LICENSE("GPL");
/* iova_bitmap_set() */
#ifdef TESTDEV_NS_IS_A_WORD
MODULE_IMPORT_NS(IOMMUFD);
#else
MODULE_IMPORT_NS("IOMMUFD");
#endif
