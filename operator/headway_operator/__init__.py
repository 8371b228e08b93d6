"""The operator: keeps a pool's workloads as its ModelPool says, and says in its status how it is.

kopf watches, and its handlers only name what changed (``handlers``); the leader's workers take
names from the queue (``work_queue``), read the cluster, plan without I/O (``model_pool.plan``) and
apply (``model_pool.controller``).
"""
