"""What routes are given. Every injectable has one name, defined here."""
