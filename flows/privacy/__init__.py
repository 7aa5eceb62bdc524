"""What people are owed: that what is held of them ends, can be given to them, and can be erased."""
