"""CPSC 2018 and CPSC-Extra: 12-lead ECGs of Chinese hospitals."""
