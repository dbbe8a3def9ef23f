"""What a client of a manager needs: connect, wait, follow logs; words for people."""
