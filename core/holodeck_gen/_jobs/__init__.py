"""The life of one part: submit, polls, delivery."""
