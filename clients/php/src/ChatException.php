<?php

declare(strict_types=1);

namespace Chat;

/** The service refused a request, or did not answer. */
final class ChatException extends \RuntimeException
{
    /**
     * @param int         $status       HTTP status; 0: there was no answer
     * @param string      $errorCode    stable code of the service, such as `not_a_member`; `unreachable` without an answer
     * @param string|null $field        the field of the request that is wrong
     * @param int|null    $retryAfterMs milliseconds to wait before the next try; null: a retry would not help
     * @param string      $requestId    the id under which the service logged the request; empty: not known
     */
    public function __construct(
        string $message,
        public readonly int $status,
        public readonly string $errorCode,
        public readonly ?string $field = null,
        public readonly ?int $retryAfterMs = null,
        public readonly string $requestId = '',
    ) {
        parent::__construct($message, $status);
    }
}
