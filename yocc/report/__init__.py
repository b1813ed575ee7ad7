"""What a compilation did: `report.json`, its page, and gates on its figures."""
