"""ECG: a wearer's beats are learned on the chip (MIT-BIH Arrhythmia Database, AAMI EC57)."""
