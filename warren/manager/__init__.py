"""The program that holds what is wanted, and sees to it that it is so."""
