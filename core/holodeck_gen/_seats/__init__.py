"""What several studios and processes of one machine take from one account: slots, and rates."""
