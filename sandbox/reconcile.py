"""After a crash: charge in full every job and question that was begun and has no end."""

from configs.entries import AnswerEntry, CallEntry, JobEntry, StartEntry, facts_of
from configs.records import JobResult, ModelReply
from sandbox.ledger import Ledger, Transaction
from sandbox.run import end_call, end_job, need_reserved


def reconcile(ledger: Ledger) -> int:
    """Charge every reservation without a result (a crash): the reservation stands as spent."""
    entries = ledger.entries()
    done = {job.nonce for job in facts_of(entries, JobEntry)}
    done |= {answer.nonce for answer in facts_of(entries, AnswerEntry)}
    starts = [start for start in facts_of(entries, StartEntry) if start.grant.nonce not in done]
    calls = [call for call in facts_of(entries, CallEntry) if call.grant.nonce not in done]
    for start in starts:
        with ledger.transaction() as txn:
            _charge_job(txn, start)
    for call in calls:
        with ledger.transaction() as txn:
            _charge_call(txn, call)
    return len(starts) + len(calls)


def _charge_job(txn: Transaction, start: StartEntry) -> None:
    """Record a job as lost, and charge its whole reservation."""
    result = JobResult(
        status="box",
        detail="lost: the trusted process ended before the job did",
        charged=need_reserved(start),
        startup_cpu_us=0,
        charged_by="reservation",
        peak_bytes=0,
        outputs={},
        log="",
        box="",
    )
    end_job(txn, start, result)


def _charge_call(txn: Transaction, lost: CallEntry) -> None:
    """Record a question as lost, and charge its whole reservation."""
    answer = ModelReply(
        status="lost",
        detail="the trusted process ended before the answer came",
        charged=need_reserved(lost),
        charged_by="reservation",
    )
    end_call(txn, lost, answer)
