"""Prints the JSON Schema of what --json prints: python -m provision.report > schema.json"""

import json
import sys

from provision.report.document import schema

sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
