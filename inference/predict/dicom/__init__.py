"""DICOM objects of predictions: Segmentations and Structured Reports that refer to the predicted image."""
