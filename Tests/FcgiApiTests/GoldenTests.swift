import ChatCore
import TestSupport
import Testing

@testable import fcgi_api

/// The documents of REST, as bytes.
@Suite struct GoldenDocumentTests {
    private func text(_ response: Response) -> String { String(decoding: response.body, as: UTF8.self) }

    private func text(_ write: (inout JSONWriter) -> Void) -> String {
        var writer = JSONWriter()
        write(&writer)
        return String(decoding: writer.take(), as: UTF8.self)
    }

    private var refusals: [Refusal] {
        [
            .notAMember, .invalid("Content", "is \"empty\""), .busy("the queue is full"),
            .tooMany(.sends, milliseconds: 1500),
            Refusal(.invalid, "no", field: "A", retryAfterMilliseconds: 5),
        ]
    }

    private var uploads: [UploadProgressBody] {
        let empty = UploadProgressBody(message: alice, received: [])
        var full = UploadProgressBody(message: alice, index: 3, total: 4, received: [1, 2, 300], size: 70_000)
        (full.isCompleted, full.complete) = (true, OneRoom().message(5))
        return [empty, full]
    }

    private var audit: [AuditEntry] {
        [
            AuditEntry(
                id: 5, at: 1, key: "k", operation: "o", path: "/p", user: nil, externalID: nil, status: 200,
                requestID: "r"),
            AuditEntry(
                id: 6, at: 2, key: "k", operation: "o", path: "/p", user: bob, externalID: "x", status: 404,
                requestID: "r"),
        ]
    }

    @Test func documentsStayAsTheyAre() {
        var lines: [Golden.Line] = [
            ("data", text(.data(status: 201) { $0.null() })),
            ("list", text(.list([1, 2], next: "a=1") { $0.int(Int64($1)) })),
            ("last page", text(.list([Int](), next: nil) { $0.int(Int64($1)) })),
            (
                "queued",
                text(
                    SubmitOutcome.queued(
                        Command(
                            id: alice, room: kitchen, actor: bob, sign: "s", acceptedAt: 0, action: .deleteRoom)
                    ).response())
            ),
            ("done", text(SubmitOutcome.done(.map([.init("a", .array([.double(1.5)]))])).response())),
        ]
        lines += refusals.enumerated().map { ("refusal \($0)", text(Response.refusal($1, requestID: "r"))) }
        lines += uploads.enumerated().map { index, upload in ("upload \(index)", text { upload.write(to: &$0) }) }
        lines += audit.enumerated().map { index, entry in ("audit \(index)", text { entry.write(to: &$0) }) }
        let api = TestApi()
        for (method, uri, body) in [
            ("GET", "/rooms?limit=2&messages=2", ""), ("GET", "/rooms/\(kitchen)", ""),
            ("GET", "/rooms/\(kitchen)/messages?limit=2", ""), ("GET", "/rooms/\(kitchen)/members", ""),
            ("GET", "/rooms/\(kitchen)/invitations", ""), ("GET", "/search?q=te&limit=2", ""),
            ("GET", "/users/\(alice)/presence", ""), ("GET", "/account", ""),
            ("PATCH", "/account", #"{"HidePresence":true}"#), ("POST", "/ws-ticket", ""), ("GET", "/nothing", ""),
        ] {
            lines.append(("\(method) \(uri)", api.text(method, uri, body: body)))
        }
        #expect(Golden.differences(from: "documents.txt", lines) == [])
    }
}
