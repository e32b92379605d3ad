// SPDX-License-Identifier: GPL-2.0-only
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/migtrack.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: make netlink */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "netlink-gen.h"

#include <linux/migtrack.h>

/* Common nested types */
const struct nla_policy migtrack_dma_range_nl_policy[MIGTRACK_A_DMA_RANGE_OFFSET + 1] = {
	[MIGTRACK_A_DMA_RANGE_IOVA] = { .type = NLA_UINT, },
	[MIGTRACK_A_DMA_RANGE_LENGTH] = { .type = NLA_UINT, },
	[MIGTRACK_A_DMA_RANGE_SOURCE_ID] = { .type = NLA_U32, },
	[MIGTRACK_A_DMA_RANGE_OFFSET] = { .type = NLA_UINT, },
};

/* MIGTRACK_CMD_SESSION_DEL - do */
static const struct nla_policy migtrack_session_del_nl_policy[MIGTRACK_A_SESSION_FD + 1] = {
	[MIGTRACK_A_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
};

/* MIGTRACK_CMD_SESSION_GET - do */
static const struct nla_policy migtrack_session_get_nl_policy[MIGTRACK_A_SESSION_ID + 1] = {
	[MIGTRACK_A_SESSION_ID] = { .type = NLA_UINT, },
};

/* MIGTRACK_CMD_SOURCE_ADD - do */
static const struct nla_policy migtrack_source_add_nl_policy[MIGTRACK_A_SOURCE_NAME + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_TYPE] = NLA_POLICY_RANGE(NLA_U32, 1, 3),
	[MIGTRACK_A_SOURCE_PID] = NLA_POLICY_MIN(NLA_S32, 1),
	[MIGTRACK_A_SOURCE_MEM_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_OFFSET] = { .type = NLA_UINT, },
	[MIGTRACK_A_SOURCE_LENGTH] = { .type = NLA_UINT, },
	[MIGTRACK_A_SOURCE_MAX_AGE] = NLA_POLICY_MIN(NLA_UINT, 1),
	[MIGTRACK_A_SOURCE_DEVICE_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_DATA_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_NAME] = { .type = NLA_NUL_STRING, .len = 63, },
};

/* MIGTRACK_CMD_SOURCE_DEL - do */
static const struct nla_policy migtrack_source_del_nl_policy[MIGTRACK_A_SOURCE_ID + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_ID] = { .type = NLA_U32, },
};

/* MIGTRACK_CMD_SOURCE_GET - do */
static const struct nla_policy migtrack_source_get_do_nl_policy[MIGTRACK_A_SOURCE_ID + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_ID] = { .type = NLA_UINT, },
	[MIGTRACK_A_SOURCE_ID] = { .type = NLA_U32, },
};

/* MIGTRACK_CMD_SOURCE_GET - dump */
static const struct nla_policy migtrack_source_get_dump_nl_policy[MIGTRACK_A_SOURCE_SESSION_ID + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_ID] = { .type = NLA_UINT, },
};

/* MIGTRACK_CMD_SYNC - do */
static const struct nla_policy migtrack_sync_nl_policy[MIGTRACK_A_SESSION_SYNC_KIND + 1] = {
	[MIGTRACK_A_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SESSION_SYNC_KIND] = NLA_POLICY_RANGE(NLA_U32, 1, 4),
};

/* MIGTRACK_CMD_SESSION_SET - do */
static const struct nla_policy migtrack_session_set_nl_policy[MIGTRACK_A_SESSION_REASON + 1] = {
	[MIGTRACK_A_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SESSION_PHASE] = NLA_POLICY_MAX(NLA_U32, 9),
	[MIGTRACK_A_SESSION_DOWNTIME_LIMIT] = { .type = NLA_UINT, },
	[MIGTRACK_A_SESSION_BANDWIDTH] = { .type = NLA_UINT, },
	[MIGTRACK_A_SESSION_BANDWIDTH_SOURCE] = NLA_POLICY_MAX(NLA_U32, 3),
	[MIGTRACK_A_SESSION_EXPECTED_DOWNTIME] = { .type = NLA_UINT, },
	[MIGTRACK_A_SESSION_VERDICT] = NLA_POLICY_MAX(NLA_U32, 4),
	[MIGTRACK_A_SESSION_REASON] = NLA_POLICY_MAX(NLA_U32, 21),
};

/* MIGTRACK_CMD_SOURCE_REPORT - do */
static const struct nla_policy migtrack_source_report_nl_policy[MIGTRACK_A_SOURCE_DIRTY_RATE + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_ID] = { .type = NLA_U32, },
	[MIGTRACK_A_SOURCE_PRECOPY] = { .type = NLA_UINT, },
	[MIGTRACK_A_SOURCE_POSTCOPY] = { .type = NLA_UINT, },
	[MIGTRACK_A_SOURCE_STOPCOPY] = { .type = NLA_UINT, },
	[MIGTRACK_A_SOURCE_FLAGS] = NLA_POLICY_MASK(NLA_U32, 0x1ff),
	[MIGTRACK_A_SOURCE_DIRTY_RATE] = { .type = NLA_UINT, },
};

/* MIGTRACK_CMD_SOURCE_SET - do */
static const struct nla_policy migtrack_source_set_nl_policy[MIGTRACK_A_SOURCE_DATA_FD + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_ID] = { .type = NLA_U32, },
	[MIGTRACK_A_SOURCE_DATA_FD] = NLA_POLICY_MIN(NLA_S32, 0),
};

/* MIGTRACK_CMD_DMA_LOG_START - do */
static const struct nla_policy migtrack_dma_log_start_nl_policy[MIGTRACK_A_SOURCE_DMA_MAP + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_ID] = { .type = NLA_U32, },
	[MIGTRACK_A_SOURCE_DMA_MAP] = NLA_POLICY_NESTED(migtrack_dma_range_nl_policy),
};

/* MIGTRACK_CMD_DMA_LOG_STOP - do */
static const struct nla_policy migtrack_dma_log_stop_nl_policy[MIGTRACK_A_SOURCE_ID + 1] = {
	[MIGTRACK_A_SOURCE_SESSION_FD] = NLA_POLICY_MIN(NLA_S32, 0),
	[MIGTRACK_A_SOURCE_ID] = { .type = NLA_U32, },
};

/* Ops table for migtrack */
static const struct genl_split_ops migtrack_nl_ops[] = {
	{
		.cmd	= MIGTRACK_CMD_SESSION_NEW,
		.doit	= migtrack_nl_session_new_doit,
		.flags	= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SESSION_DEL,
		.pre_doit	= migtrack_nl_session_pre_doit,
		.doit		= migtrack_nl_session_del_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_session_del_nl_policy,
		.maxattr	= MIGTRACK_A_SESSION_FD,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SESSION_GET,
		.doit		= migtrack_nl_session_get_doit,
		.policy		= migtrack_session_get_nl_policy,
		.maxattr	= MIGTRACK_A_SESSION_ID,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd	= MIGTRACK_CMD_SESSION_GET,
		.dumpit	= migtrack_nl_session_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= MIGTRACK_CMD_SOURCE_ADD,
		.pre_doit	= migtrack_nl_source_pre_doit,
		.doit		= migtrack_nl_source_add_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_source_add_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_NAME,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SOURCE_DEL,
		.pre_doit	= migtrack_nl_source_pre_doit,
		.doit		= migtrack_nl_source_del_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_source_del_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_ID,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SOURCE_GET,
		.doit		= migtrack_nl_source_get_doit,
		.policy		= migtrack_source_get_do_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_ID,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SOURCE_GET,
		.dumpit		= migtrack_nl_source_get_dumpit,
		.policy		= migtrack_source_get_dump_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_SESSION_ID,
		.flags		= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= MIGTRACK_CMD_SYNC,
		.pre_doit	= migtrack_nl_session_pre_doit,
		.doit		= migtrack_nl_sync_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_sync_nl_policy,
		.maxattr	= MIGTRACK_A_SESSION_SYNC_KIND,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SESSION_SET,
		.pre_doit	= migtrack_nl_session_pre_doit,
		.doit		= migtrack_nl_session_set_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_session_set_nl_policy,
		.maxattr	= MIGTRACK_A_SESSION_REASON,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SOURCE_REPORT,
		.pre_doit	= migtrack_nl_source_pre_doit,
		.doit		= migtrack_nl_source_report_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_source_report_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_DIRTY_RATE,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_SOURCE_SET,
		.pre_doit	= migtrack_nl_source_pre_doit,
		.doit		= migtrack_nl_source_set_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_source_set_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_DATA_FD,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_DMA_LOG_START,
		.pre_doit	= migtrack_nl_source_pre_doit,
		.doit		= migtrack_nl_dma_log_start_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_dma_log_start_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_DMA_MAP,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MIGTRACK_CMD_DMA_LOG_STOP,
		.pre_doit	= migtrack_nl_source_pre_doit,
		.doit		= migtrack_nl_dma_log_stop_doit,
		.post_doit	= migtrack_nl_session_post_doit,
		.policy		= migtrack_dma_log_stop_nl_policy,
		.maxattr	= MIGTRACK_A_SOURCE_ID,
		.flags		= GENL_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
};

static const struct genl_multicast_group migtrack_nl_mcgrps[] = {
	[MIGTRACK_NLGRP_EVENTS] = { "events", },
};

struct genl_family migtrack_nl_family __ro_after_init = {
	.name		= MIGTRACK_FAMILY_NAME,
	.version	= MIGTRACK_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= migtrack_nl_ops,
	.n_split_ops	= ARRAY_SIZE(migtrack_nl_ops),
	.mcgrps		= migtrack_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(migtrack_nl_mcgrps),
};
