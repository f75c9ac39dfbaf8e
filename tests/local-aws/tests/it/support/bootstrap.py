"""A function for provided.al2023 that does what its event says."""

import json
import os
import urllib.error
import urllib.request

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime"


def post(path, body):
    urllib.request.urlopen(urllib.request.Request(f"{API}/{path}", json.dumps(body).encode(), method="POST")).read()


def call(event):
    """An AWS call with the function's own credentials."""
    import botocore.exceptions
    import botocore.session

    client = botocore.session.get_session().create_client(event["service"])
    try:
        answer = client._make_api_call(event["operation"], event["input"])
        answer.pop("ResponseMetadata", None)
        return json.loads(json.dumps(answer, default=lambda value: value.read().decode()))
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]


if os.environ.get("FAIL_INIT"):
    post("init/error", {"errorMessage": "bad configuration", "errorType": "Config"})
    raise SystemExit(1)

while True:
    with urllib.request.urlopen(f"{API}/invocation/next") as invocation:
        event = json.load(invocation)
        request = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
        arn = invocation.headers["Lambda-Runtime-Invoked-Function-Arn"]
    if "Records" in event and os.environ.get("SEEN"):
        call({"service": "sqs", "operation": "SendMessage",
              "input": {"QueueUrl": os.environ["SEEN"], "MessageBody": str(len(event["Records"]))}})
        failed = [record["messageId"] for record in event["Records"] if json.loads(record["body"]).get("fail")]
        answer = {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
    elif "service" in event:
        answer = call(event)
    elif event.get("fail"):
        print("failing as asked", flush=True)
        post(f"invocation/{request}/error", {"errorMessage": "as asked", "errorType": "Asked"})
        continue
    else:
        answer = {"arn": arn, "event": event, "process": os.getpid()}
    post(f"invocation/{request}/response", answer)
