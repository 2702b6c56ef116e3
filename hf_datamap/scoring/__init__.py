"""From rows to columns: every way in which a dataset is scored, fitted and assigned."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["ray"])
