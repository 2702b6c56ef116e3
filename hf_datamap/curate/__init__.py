"""Judgement on mapped data: audit, selection, pairs. Nothing here scores."""
