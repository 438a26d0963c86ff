"""Prints the JSON Schema: python -m provision.inventory > schema.json"""

import json
import sys

from provision.inventory.document import schema

sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
