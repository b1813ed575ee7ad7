"""`report.html`: a report as one self-contained page, made from what `report.json` holds and nothing else."""
