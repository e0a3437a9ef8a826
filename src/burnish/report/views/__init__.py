"""What stands on the page, part by part: texts, tables and pictures."""
