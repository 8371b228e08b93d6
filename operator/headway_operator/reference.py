"""What the operator says of pools and policies: conditions with their reasons, and Events."""

CONDITIONS = {
    "Ready": {
        "AsExpected": "True: every group has what it needs.",
        "Updating": "False: too few pods are ready while new ones replace old ones.",
        "PodsNotReady": "False: too few pods are ready, and none is being replaced.",
        "NoEndpoints": "False: the pool asks for no pod at all.",
        "NotProbed": "Unknown: routers probe the addresses of Static groups, nobody else does.",
        "InvalidSpec": "False: see Stalled; what was there before may serve.",
    },
    "Progressing": {
        "RollingOut": "True: pods change in the groups that the message names.",
        "Stable": "False: all is as the spec says.",
        "Paused": "False: `spec.paused` is set, so nothing is changed.",
        "InvalidSpec": "False: see Stalled.",
    },
    "Stalled": {
        "AsExpected": "False: nobody needs to act.",
        "InvalidSpec": "True: the spec contradicts itself, a template, or the API server's rules;"
        " the message names the field. Nothing is changed until the spec is.",
        "ProgressDeadlineExceeded": "True: a Deployment has not come up within"
        " `rollout.progressDeadlineSeconds`; its pods' Events say why.",
    },
    "PolicyAffected": {
        "NoPolicy": "False: the pool is routed by the defaults.",
        "Affected": "True: the policy that the message names is in force.",
        "Conflicted": "True: several policies name the pool; the oldest of them is in force.",
    },
    "Programmed": {
        "Programmed": "True: every router routes by this generation.",
        "Pending": "False: some routers still run an older one.",
        "Rejected": "False: a router could not take it; the message is the first one's.",
        "Invalid": "False: it does not compile; the last version that did stays in force.",
        "NoRouters": "Unknown: no router has reported for 15 s.",
    },
}
"""Condition type -> reason -> status and meaning."""

POLICY_CONDITIONS = {
    "Accepted": {
        "Accepted": "True: it decides how the pool is routed.",
        "Conflicted": "False: an older policy names the same pool.",
        "Invalid": "False: it does not compile; the message names the field.",
        "TargetNotFound": "False: there is no such pool.",
    },
    "ResolvedRefs": {
        "ResolvedRefs": "True: the pool is there.",
        "TargetNotFound": "False: it is not.",
    },
    "Programmed": {
        **CONDITIONS["Programmed"],
        "Conflicted": "False: see Accepted.",
        "TargetNotFound": "False: see Accepted.",
    },
}
"""The same, of a policy and each pool that it names."""

EVENTS = {
    "PoolCreated": "Normal: the pool was seen for the first time.",
    "GroupScaled": "Normal: the replicas of a group's Deployment were changed; from and to.",
    "EditReverted": "Warning: somebody changed fields of a Deployment or budget that the pool"
    " decides; they are as before.",
    "InvalidSpec": "Warning: as the condition Stalled.",
    "ProgressDeadlineExceeded": "Warning: as the condition Stalled.",
    "PolicyAccepted": "Normal: the policy decides how a pool is routed.",
    "PolicyProgrammed": "Normal: every router runs the policy's generation.",
    "PolicyConflict": "Warning: as the policy's condition Accepted.",
    "TargetNotFound": "Warning: as the policy's condition Accepted.",
}
"""Reason -> type and meaning; the same one about one object at most every ten minutes."""
