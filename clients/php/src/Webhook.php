<?php

declare(strict_types=1);

namespace Chat;

/**
 * Verifies what the service sends to WEBHOOK_URL and MESSAGE_CHECK_URL.
 *
 *     $hook = new Webhook($secret);
 *     $event = $hook->receive();                       // an event: store its ID, answer 204
 *     Webhook::answer([Webhook::reject($id, 'why')]);  // a check: what is not named is allowed
 */
final class Webhook
{
    /**
     * @param string $secret    WEBHOOK_SECRET of the service
     * @param int    $tolerance seconds by which the two clocks may differ; an older request may be a replay
     */
    public function __construct(#[\SensitiveParameter] private readonly string $secret, private readonly int $tolerance = 300)
    {
        if (strlen($secret) < 32) {
            throw new \InvalidArgumentException('WEBHOOK_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32');
        }
    }

    /**
     * The request of this PHP process, verified: 403 and the end of the script if it is not from the service.
     *
     * @return array<string, mixed>
     */
    public function receive(): array
    {
        $body = (string) file_get_contents('php://input');
        try {
            return $this->verify($body, (string) ($_SERVER['HTTP_X_CHAT_SIGNATURE'] ?? ''));
        } catch (\UnexpectedValueException $error) {
            http_response_code(403);
            header('Content-Type: text/plain; charset=utf-8');
            exit($error->getMessage() . "\n");
        }
    }

    /**
     * @param string   $body      the raw body, byte for byte
     * @param string   $signature header X-Chat-Signature
     * @param int|null $now       Unix seconds; null: the clock's
     * @return array<string, mixed>
     * @throws \UnexpectedValueException
     */
    public function verify(string $body, string $signature, ?int $now = null): array
    {
        if (!preg_match('/^t=(\d{1,12}),v1=([0-9a-f]{64})$/D', $signature, $found)) {
            throw new \UnexpectedValueException('X-Chat-Signature is missing or malformed');
        }
        $right = hash_hmac('sha256', "$found[1].$body", $this->secret);
        if (!hash_equals($right, $found[2])) {
            throw new \UnexpectedValueException('X-Chat-Signature does not match: is WEBHOOK_SECRET the same on both sides?');
        }
        if (abs(($now ?? time()) - (int) $found[1]) > $this->tolerance) {
            throw new \UnexpectedValueException('the request is too old: are both clocks right?');
        }
        $data = json_decode($body, true);
        if (!is_array($data)) {
            throw new \UnexpectedValueException('the body is not a JSON object');
        }
        return $data;
    }

    /** @return array<string, string> */
    public static function reject(string $message, string $reason): array
    {
        return ['ID' => $message, 'Action' => 'reject', 'Reason' => $reason];
    }

    /** @return array<string, string> */
    public static function rewrite(string $message, string $content): array
    {
        return ['ID' => $message, 'Action' => 'rewrite', 'Content' => $content];
    }

    /**
     * Answers a message check; a message without a verdict is allowed.
     *
     * @param list<array<string, string>> $verdicts
     */
    public static function answer(array $verdicts): void
    {
        header('Content-Type: application/json');
        echo json_encode(['Verdicts' => $verdicts], JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
    }
}
