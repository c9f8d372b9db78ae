"""What the generated application costs, as a share of a hand-written floor."""
