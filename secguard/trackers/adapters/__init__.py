"""The trackers: HTTP to GitHub and Jira."""
