"""Creates the bucket with a signed PUT. SeaweedFS's health page returns 200 before writes work; this request does not."""

import datetime
import hashlib
import hmac
import http.client


def create_bucket(host, bucket, key, secret, region="us-east-1"):
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    signed = "host;x-amz-content-sha256;x-amz-date"
    request = f"PUT\n/{bucket}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n{signed}\n{empty}"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    derived = b"AWS4" + secret.encode()
    for part in (day, region, "s3", "aws4_request", text):
        derived = hmac.new(derived, part.encode(), hashlib.sha256).digest()
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request("PUT", f"/{bucket}", headers={
        "Host": host, "x-amz-date": stamp, "x-amz-content-sha256": empty, "Content-Length": "0",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={signed}, Signature={derived.hex()}"})
    status = connection.getresponse().status
    connection.close()
    return status in (200, 409)  # 409: it is ours from an earlier start
