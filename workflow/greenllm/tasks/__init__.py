"""The applications, one file each."""

from greenllm.tasks.customer_service import CustomerService
from greenllm.tasks.task import Task
from greenllm.tasks.translation import Translation

TASKS: dict[str, Task] = {task.name: task for task in (CustomerService(), Translation())}

__all__ = ["TASKS", "Task"]
