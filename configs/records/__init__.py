"""The records that cross a folder. Frozen facts: a part makes each, and the next part reads it.

Begin with plan.py; grant.py, scores.py and decision.py follow a plan on its way.
"""

from configs.records.call import (
    CALL_CPU_US,
    ENDED,
    RETRIED,
    TEMPLATE_TOKENS,
    UNUSABLE,
    Call,
    CallStatus,
    Endpoint,
    ModelReply,
)
from configs.records.classes import (
    ACTS,
    CHANGE_CLASSES,
    CLASSES,
    RESUME,
    ChangeClass,
    ClassName,
)
from configs.records.decision import Approval, Caps, Mandate, ReviewerAnswer
from configs.records.grant import KILLED, Grant, Input, Job, JobResult
from configs.records.incident import Harm, Incident
from configs.records.people import Acknowledgement, NoticeName, OrderName, PublicHalf
from configs.records.plan import (
    ACCOUNTS,
    COMPUTED_TASKS,
    RESOURCES,
    Amount,
    Edit,
    JobCount,
    Plan,
    PlanRole,
    Proposal,
    Purpose,
    stage,
)
from configs.records.scores import (
    CONFIRM,
    SPLITS,
    Criterion,
    Nearest,
    Scores,
    Split,
    Verdict,
    VerdictAnswer,
)

__all__ = [
    "ACCOUNTS",
    "ACTS",
    "CALL_CPU_US",
    "CHANGE_CLASSES",
    "CLASSES",
    "COMPUTED_TASKS",
    "CONFIRM",
    "ENDED",
    "KILLED",
    "RESOURCES",
    "RESUME",
    "RETRIED",
    "SPLITS",
    "TEMPLATE_TOKENS",
    "UNUSABLE",
    "Acknowledgement",
    "Amount",
    "Approval",
    "Call",
    "CallStatus",
    "Caps",
    "ChangeClass",
    "ClassName",
    "Criterion",
    "Edit",
    "Endpoint",
    "Grant",
    "Harm",
    "Incident",
    "Input",
    "Job",
    "JobCount",
    "JobResult",
    "Mandate",
    "ModelReply",
    "Nearest",
    "NoticeName",
    "OrderName",
    "Plan",
    "PlanRole",
    "Proposal",
    "PublicHalf",
    "Purpose",
    "ReviewerAnswer",
    "Scores",
    "Split",
    "Verdict",
    "VerdictAnswer",
    "stage",
]
