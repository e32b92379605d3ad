// SPDX-License-Identifier: GPL-2.0-only
/*
 * Types of sources that other modules provide, so that this one loads without
 * what they need. A source of such a type holds its module.
 */

#include <linux/ctype.h>
#include <linux/file.h>
#include <linux/kmod.h>
#include <linux/module.h>
#include <net/genetlink.h>

#include "provider.h"
#include "session.h"
#include "source.h"

/* Guards the table below; a provider that is there can be called. */
static DEFINE_MUTEX(migtrack_providers_lock);
static const struct migtrack_source_provider *migtrack_providers[MIGTRACK_SOURCE_TYPE_VFIO + 1];

/**
 * migtrack_source_type_register - provide a type of source
 * @provider: the type; stays until it is unregistered
 *
 * Return: 0, or -EBUSY if somebody provides that type, -EINVAL if it is not
 * one that is provided.
 */
int migtrack_source_type_register(const struct migtrack_source_provider *provider)
{
	int err = 0;

	if (provider->type != MIGTRACK_SOURCE_TYPE_VFIO)
		return -EINVAL;

	mutex_lock(&migtrack_providers_lock);
	if (migtrack_providers[provider->type])
		err = -EBUSY;
	else
		migtrack_providers[provider->type] = provider;
	mutex_unlock(&migtrack_providers_lock);
	return err;
}
EXPORT_SYMBOL_GPL(migtrack_source_type_register);

/**
 * migtrack_source_type_unregister - no longer provide a type of source
 * @provider: the type
 *
 * For the end of a module: there are no sources of the type, and no new ones
 * are being made.
 */
void migtrack_source_type_unregister(const struct migtrack_source_provider *provider)
{
	mutex_lock(&migtrack_providers_lock);
	migtrack_providers[provider->type] = NULL;
	mutex_unlock(&migtrack_providers_lock);
}
EXPORT_SYMBOL_GPL(migtrack_source_type_unregister);

/* The provider, its module held; NULL if there is none. */
static const struct migtrack_source_provider *
migtrack_provider_get(enum migtrack_source_type type)
{
	const struct migtrack_source_provider *provider;

	mutex_lock(&migtrack_providers_lock);
	provider = migtrack_providers[type];
	if (provider && !try_module_get(provider->owner))
		provider = NULL;
	mutex_unlock(&migtrack_providers_lock);
	return provider;
}

/* ---- what a request says ---- */

static int migtrack_device_get_file(struct genl_info *info, int attr, struct file **file)
{
	struct nlattr *nla = info->attrs[attr];

	if (!nla)
		return 0;
	*file = fget(nla_get_s32(nla));
	if (*file)
		return 0;
	NL_SET_ERR_MSG_ATTR(info->extack, nla, "the device's or its data's descriptor is not open");
	return -EBADF;
}

static int migtrack_device_get_name(struct genl_info *info, const char **name)
{
	struct nlattr *nla = info->attrs[MIGTRACK_A_SOURCE_NAME];
	const char *c;

	if (!nla)
		return 0;
	*name = nla_data(nla);
	for (c = *name; *c; c++) {
		if (isascii(*c) && isprint(*c))
			continue;
		NL_SET_ERR_MSG_ATTR(info->extack, nla,
				    "a name has printable ASCII characters only");
		return -EINVAL;
	}
	return 0;
}

static void migtrack_device_args_put(const struct migtrack_device_args *args)
{
	if (args->data)
		fput(args->data);
	if (args->device)
		fput(args->device);
}

/* Of source-add. */
static int migtrack_device_args_get(struct migtrack_device_args *args,
				    struct genl_info *info)
{
	int err;

	err = migtrack_device_get_name(info, &args->name);
	if (!err)
		err = migtrack_device_get_file(info, MIGTRACK_A_SOURCE_DEVICE_FD,
					       &args->device);
	if (!err)
		err = migtrack_device_get_file(info, MIGTRACK_A_SOURCE_DATA_FD,
					       &args->data);
	if (err)
		migtrack_device_args_put(args);
	return err;
}

/**
 * migtrack_provider_new - make a source of a type that a module provides
 * @type: the type
 * @info: the request
 *
 * Return: the source, or an ERR_PTR.
 */
struct migtrack_source *migtrack_provider_new(enum migtrack_source_type type,
					      struct genl_info *info)
{
	const struct migtrack_source_provider *provider;
	struct migtrack_device_args args = {};
	struct migtrack_source *source;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_DEVICE_FD))
		return ERR_PTR(-EINVAL);

	provider = migtrack_provider_get(type);
	if (!provider) {
		/*
		 * Nobody waits for it: a doit holds a lock of generic netlink
		 * that the end of modprobe may need.
		 */
		request_module_nowait("migtrack-source-vfio");
		NL_SET_ERR_MSG(info->extack,
			       "the module migtrack_vfio is not loaded; load it, or try again in a moment");
		return ERR_PTR(-EOPNOTSUPP);
	}

	err = migtrack_device_args_get(&args, info);
	if (err) {
		source = ERR_PTR(err);
		goto out;
	}
	source = provider->new(&args, info->extack);
	migtrack_device_args_put(&args);
out:
	if (IS_ERR(source))
		module_put(provider->owner);
	return source;
}

/**
 * migtrack_provider_set - give a source a file that it had not
 * @session: the session
 * @info: the request
 *
 * Return: 0; -EBADF, -EINVAL, -ENODEV, -ENOENT or -ENOMEM.
 */
int migtrack_provider_set(struct migtrack_session *session, struct genl_info *info)
{
	struct migtrack_device_args args = {};
	struct migtrack_source *source;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_ID) ||
	    GENL_REQ_ATTR_CHECK(info, MIGTRACK_A_SOURCE_DATA_FD))
		return -EINVAL;

	/* Its attributes end there: no other one can be looked at. */
	err = migtrack_device_get_file(info, MIGTRACK_A_SOURCE_DATA_FD, &args.data);
	if (err)
		return err;

	mutex_lock(&session->lock);
	source = migtrack_session_source(session,
					 nla_get_u32(info->attrs[MIGTRACK_A_SOURCE_ID]),
					 info->extack);
	if (IS_ERR(source)) {
		err = PTR_ERR(source);
	} else if (!source->ops->set) {
		NL_SET_ERR_MSG(info->extack, "only a VFIO device has migration data");
		err = -EINVAL;
	} else {
		err = source->ops->set(source, &args, info->extack);
		if (!err)
			err = migtrack_session_changed(session, source);
	}
	mutex_unlock(&session->lock);
	migtrack_device_args_put(&args);
	return err;
}
