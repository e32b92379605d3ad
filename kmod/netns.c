// SPDX-License-Identifier: GPL-2.0-only
/* Network namespaces: sessions belong to one, and end with it. */

#include <net/netns/generic.h>

#include "netns.h"
#include "session.h"

static unsigned int migtrack_net_id __read_mostly;

/**
 * migtrack_net - the sessions of a network namespace
 * @net: the namespace
 *
 * Return: never NULL.
 */
struct migtrack_net *migtrack_net(const struct net *net)
{
	return net_generic(net, migtrack_net_id);
}

static int __net_init migtrack_net_init(struct net *net)
{
	struct migtrack_net *mnet = migtrack_net(net);

	xa_init(&mnet->sessions);
	atomic_set(&mnet->count, 0);
	atomic_set(&mnet->generation, 1);
	mutex_init(&mnet->event_lock);
	return 0;
}

static void __net_exit migtrack_net_exit(struct net *net)
{
	struct migtrack_net *mnet = migtrack_net(net);
	struct migtrack_session *session;
	unsigned long id = 0;

	while ((session = migtrack_session_next(mnet, &id))) {
		migtrack_session_end(session);
		migtrack_session_put(session);
		id++;
	}
	xa_destroy(&mnet->sessions);
}

static struct pernet_operations migtrack_net_ops = {
	.init	= migtrack_net_init,
	.exit	= migtrack_net_exit,
	.id	= &migtrack_net_id,
	.size	= sizeof(struct migtrack_net),
};

int __init migtrack_netns_init(void)
{
	return register_pernet_subsys(&migtrack_net_ops);
}

void migtrack_netns_exit(void)
{
	unregister_pernet_subsys(&migtrack_net_ops);
}
