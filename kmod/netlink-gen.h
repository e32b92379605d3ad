/* SPDX-License-Identifier: GPL-2.0-only */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/migtrack.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: make netlink */

#ifndef _LINUX_MIGTRACK_GEN_H
#define _LINUX_MIGTRACK_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <linux/migtrack.h>

/* Common nested types */
extern const struct nla_policy migtrack_dma_range_nl_policy[MIGTRACK_A_DMA_RANGE_OFFSET + 1];

int migtrack_nl_session_pre_doit(const struct genl_split_ops *ops,
				 struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_source_pre_doit(const struct genl_split_ops *ops,
				struct sk_buff *skb, struct genl_info *info);
void
migtrack_nl_session_post_doit(const struct genl_split_ops *ops,
			      struct sk_buff *skb, struct genl_info *info);

int migtrack_nl_session_new_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_session_del_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_session_get_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_session_get_dumpit(struct sk_buff *skb,
				   struct netlink_callback *cb);
int migtrack_nl_source_add_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_source_del_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_source_get_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_source_get_dumpit(struct sk_buff *skb,
				  struct netlink_callback *cb);
int migtrack_nl_sync_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_session_set_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_source_report_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_source_set_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_dma_log_start_doit(struct sk_buff *skb, struct genl_info *info);
int migtrack_nl_dma_log_stop_doit(struct sk_buff *skb, struct genl_info *info);

enum {
	MIGTRACK_NLGRP_EVENTS,
};

extern struct genl_family migtrack_nl_family;

#endif /* _LINUX_MIGTRACK_GEN_H */
