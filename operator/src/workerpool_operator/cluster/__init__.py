"""What is read from and written to Kubernetes: scale, status, events, Secrets, the Lease.

Comes in: names and documents. Goes out: API calls over one client, and `ApiError` where the API server says no.
"""

from workerpool_operator.cluster.client import ApiError, KubeClient, NoClusterError
from workerpool_operator.cluster.events import EventRecorder, EventType, ObjectRef
from workerpool_operator.cluster.lease import LeaseElector
from workerpool_operator.cluster.resources import is_served, list_uids, patch_status, resource_of
from workerpool_operator.cluster.scale import NOT_SCALABLE, Scale, ScaleClient, TargetKey
from workerpool_operator.cluster.secrets import SecretReader

__all__ = [
    "NOT_SCALABLE",
    "ApiError",
    "EventRecorder",
    "EventType",
    "KubeClient",
    "LeaseElector",
    "NoClusterError",
    "ObjectRef",
    "Scale",
    "ScaleClient",
    "SecretReader",
    "TargetKey",
    "is_served",
    "list_uids",
    "patch_status",
    "resource_of",
]
