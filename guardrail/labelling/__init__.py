"""Labels by people of requests drawn at random: rounds, who labels what, and what labels show."""
