"""What is asked: the study, its file, its checks, and the files that `burnish init` writes."""
