"""The kinds of jobs: a model of each one's JSON, and the work itself. ``registry`` is the way in."""
