"""When requests are sent: rates, and polls where they tell most."""
