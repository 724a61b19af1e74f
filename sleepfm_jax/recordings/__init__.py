"""Files of clinics and archives → `Recording`: channels at native rates, annotations, stages."""
