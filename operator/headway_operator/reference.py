"""What the operator says of a pool: its conditions with their reasons, and its Events."""

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
}
"""Condition type -> reason -> status and meaning."""

EVENTS = {
    "PoolCreated": "Normal: the pool was seen for the first time.",
    "GroupScaled": "Normal: the replicas of a group's Deployment were changed; from and to.",
    "EditReverted": "Warning: somebody changed fields of a Deployment or budget that the pool"
    " decides; they are as before.",
    "InvalidSpec": "Warning: as the condition Stalled.",
    "ProgressDeadlineExceeded": "Warning: as the condition Stalled.",
}
"""Reason -> type and meaning; the same one about the same pool at most every ten minutes."""
