"""The outside world of scans: processes and engines that look at images."""
