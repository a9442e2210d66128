"""What happens next: plan, propose, cycle, measure, report. It decides the order and owns no power."""
