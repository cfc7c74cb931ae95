"""Job slots that several studios and processes of one machine take from one account."""
