"""What happens is seen: logs, metrics, traces, and a canary that proves that harm is stopped."""
