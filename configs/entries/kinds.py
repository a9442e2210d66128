"""The kinds of ledger entries: name on the wire -> record."""

from configs.entries.accord import AccordEntry, BeatEntry
from configs.entries.factory import (
    ChangeEntry,
    ReleaseEntry,
    ReviewEntry,
    RollbackEntry,
    ServedEntry,
)
from configs.entries.incident import IncidentAmendedEntry, IncidentEntry, WarningEntry
from configs.entries.jobs import (
    AnswerEntry,
    CallEntry,
    DataEntry,
    DoorEntry,
    FaultEntry,
    GrantEntry,
    JobEntry,
    LookEntry,
    NodeEntry,
    ReplayEntry,
    ReserveEntry,
    SettleEntry,
    StartEntry,
)
from configs.entries.people import (
    AcknowledgementEntry,
    ApprovalEntry,
    ControlEntry,
    DecisionEntry,
    DeployEntry,
    DrillEntry,
    HandedEntry,
    MandateEntry,
    NoticeEntry,
    ProbeEntry,
    RecallEntry,
    RequestEntry,
    ReviewedEntry,
    ReviewsEndEntry,
)
from configs.entries.study import (
    AccountEntry,
    AmendedEntry,
    AmendmentEntry,
    ComputeEntry,
    EndEntry,
    LimitEntry,
    PauseEntry,
    PruneEntry,
    QuestionsEntry,
    SessionEntry,
    StudyEntry,
)
from configs.entries.work import (
    CampaignEndEntry,
    ChampionEntry,
    HistoryEntry,
    InvalidEntry,
    NotebookEntry,
    OpeningEntry,
    PlanEntry,
    ProgramEntry,
    ScoreEntry,
    SelectionEntry,
    UsedUpEntry,
    VerdictEntry,
)

Fact = (
    StudyEntry
    | AccountEntry
    | LimitEntry
    | QuestionsEntry
    | AmendmentEntry
    | AmendedEntry
    | SessionEntry
    | PauseEntry
    | EndEntry
    | PruneEntry
    | ComputeEntry
    | NotebookEntry
    | HistoryEntry
    | InvalidEntry
    | UsedUpEntry
    | PlanEntry
    | GrantEntry
    | NodeEntry
    | DataEntry
    | ReserveEntry
    | SettleEntry
    | StartEntry
    | JobEntry
    | ReplayEntry
    | CallEntry
    | AnswerEntry
    | DoorEntry
    | FaultEntry
    | LookEntry
    | ScoreEntry
    | VerdictEntry
    | SelectionEntry
    | ProgramEntry
    | ServedEntry
    | ReviewEntry
    | ReleaseEntry
    | RollbackEntry
    | ChangeEntry
    | ChampionEntry
    | CampaignEndEntry
    | OpeningEntry
    | MandateEntry
    | ApprovalEntry
    | RequestEntry
    | DecisionEntry
    | ProbeEntry
    | ControlEntry
    | DrillEntry
    | RecallEntry
    | DeployEntry
    | HandedEntry
    | NoticeEntry
    | AcknowledgementEntry
    | ReviewedEntry
    | ReviewsEndEntry
    | IncidentEntry
    | IncidentAmendedEntry
    | WarningEntry
    | AccordEntry
    | BeatEntry
)
"""A record of any kind."""
KINDS: dict[str, type[Fact]] = {
    "study": StudyEntry,
    "account": AccountEntry,
    "limit": LimitEntry,
    "questions": QuestionsEntry,
    "amendment": AmendmentEntry,
    "amended": AmendedEntry,
    "session": SessionEntry,
    "pause": PauseEntry,
    "end": EndEntry,
    "prune": PruneEntry,
    "compute": ComputeEntry,
    "notebook": NotebookEntry,
    "history": HistoryEntry,
    "invalid": InvalidEntry,
    "used-up": UsedUpEntry,
    "plan": PlanEntry,
    "grant": GrantEntry,
    "node": NodeEntry,
    "data": DataEntry,
    "reserve": ReserveEntry,
    "settle": SettleEntry,
    "start": StartEntry,
    "job": JobEntry,
    "replay": ReplayEntry,
    "call": CallEntry,
    "answer": AnswerEntry,
    "door": DoorEntry,
    "fault": FaultEntry,
    "look": LookEntry,
    "score": ScoreEntry,
    "verdict": VerdictEntry,
    "selection": SelectionEntry,
    "program": ProgramEntry,
    "served": ServedEntry,
    "review": ReviewEntry,
    "release": ReleaseEntry,
    "rollback": RollbackEntry,
    "change": ChangeEntry,
    "champion": ChampionEntry,
    "campaign-end": CampaignEndEntry,
    "opening": OpeningEntry,
    "mandate": MandateEntry,
    "approval": ApprovalEntry,
    "request": RequestEntry,
    "decision": DecisionEntry,
    "probe": ProbeEntry,
    "control": ControlEntry,
    "drill": DrillEntry,
    "recall": RecallEntry,
    "deploy": DeployEntry,
    "handed": HandedEntry,
    "notice": NoticeEntry,
    "acknowledgement": AcknowledgementEntry,
    "reviewed": ReviewedEntry,
    "reviews-end": ReviewsEndEntry,
    "incident": IncidentEntry,
    "incident-amended": IncidentAmendedEntry,
    "warning": WarningEntry,
    "accord": AccordEntry,
    "beat": BeatEntry,
}
"""Name on the wire -> record of the entry."""
