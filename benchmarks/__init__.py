"""What ropo costs, as ratios that anyone can measure again. `python -m benchmarks` lists the scripts."""
