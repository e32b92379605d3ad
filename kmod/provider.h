/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MIGTRACK_PROVIDER_H
#define _MIGTRACK_PROVIDER_H

#include <linux/types.h>

#include <linux/migtrack.h>

struct file;
struct genl_info;
struct migtrack_session;
struct migtrack_source;
struct module;
struct netlink_ext_ack;

/* Room for a name, its end included. */
#define MIGTRACK_NAME_SIZE	64

/**
 * struct migtrack_device_args - what a request says about a device
 * @device: the file of the device, referenced; NULL if not given
 * @data: the file of its migration data, referenced; NULL if not given
 * @name: for people; NULL if not given
 */
struct migtrack_device_args {
	struct file *device;
	struct file *data;
	const char *name;
};

/**
 * struct migtrack_source_provider - a module that has a type of source
 * @type: of its sources
 * @owner: the module; each of its sources holds it
 * @new: make a source; it keeps references of its own to the files that it
 *	needs. Called without locks; says in extack why not; may sleep, and wait
 *	for a device for half a second
 */
struct migtrack_source_provider {
	enum migtrack_source_type type;
	struct module *owner;
	struct migtrack_source *(*new)(const struct migtrack_device_args *args,
				       struct netlink_ext_ack *extack);
};

/* For modules. */
int migtrack_source_type_register(const struct migtrack_source_provider *provider);
void migtrack_source_type_unregister(const struct migtrack_source_provider *provider);

/* For netlink. */
struct migtrack_source *migtrack_provider_new(enum migtrack_source_type type,
					      struct genl_info *info);
int migtrack_provider_set(struct migtrack_session *session, struct genl_info *info);

#endif /* _MIGTRACK_PROVIDER_H */
