"""How hypothesis runs here: without a time limit for one example, which a busy machine breaks."""

from hypothesis import settings

settings.register_profile("workerpool", deadline=None, max_examples=60)
settings.load_profile("workerpool")
