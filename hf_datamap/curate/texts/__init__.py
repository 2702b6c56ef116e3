"""Facts of prompts and responses, many at once: words, sketches, languages, refusals, texts under a wrong prompt."""
