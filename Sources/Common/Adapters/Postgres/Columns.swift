import ChatCore

/// The columns of a table, in the order of every statement. A case's position is the column's place in a row, and its
/// name is the column's: `roomID` is `room_id`. A new column is a case here, its line in `stored(of:)`, and the line
/// that reads it in `PostgresRows.swift`; SELECT, INSERT and UPDATE follow.
protocol Columns: CaseIterable, RawRepresentable, Hashable, Sendable where RawValue == Int, AllCases == [Self] {
    associatedtype Value

    /// The column's part of each value, as one parameter.
    func stored(of values: [Value]) -> PGValue
}

extension Columns {
    static var count: Int { allCases.count }

    fileprivate var name: String {
        var name = ""
        var wasUpper = true
        for letter in "\(self)" {
            if letter.isUppercase && !wasUpper { name += "_" }
            wasUpper = letter.isUppercase
            name += letter.lowercased()
        }
        return name
    }
}

/// The statements of a table, made once from its columns.
struct Table<Column: Columns>: Sendable {
    /// For SELECT.
    let selected: String
    private let insertion: Statement
    private let upsertion: Statement
    private let update: Statement

    /// The text around the parameters, one for each column.
    private struct Statement: Sendable {
        var before: String
        var columns: [Column]
        var after: String

        func sql(_ values: [Column.Value]) -> SQL {
            var sql = SQL.Interpolation(
                literalCapacity: before.utf8.count + after.utf8.count, interpolationCount: columns.count)
            sql.appendLiteral(before)
            for (index, column) in columns.enumerated() {
                if index > 0 { sql.appendLiteral(", ") }
                sql.appendInterpolation(column.stored(of: values))
            }
            sql.appendLiteral(after)
            return SQL(stringInterpolation: sql)
        }
    }

    /// - Parameters:
    ///   - fixed: stored once and never changed.
    ///   - defaulted: not inserted: the table's default is right for a new row.
    init(_ table: String, as alias: String, key: [Column], fixed: Set<Column> = [], defaulted: Set<Column> = []) {
        let columns = Column.allCases
        let changed = columns.filter { !key.contains($0) && !fixed.contains($0) }
        let inserted = columns.filter { !defaulted.contains($0) }
        func list(_ columns: [Column], _ text: (String) -> String) -> String {
            columns.map { text($0.name) }.joined(separator: ", ")
        }
        selected = list(columns) { "\(alias).\($0)" }
        let names = list(inserted) { $0 }
        insertion = Statement(
            before: "INSERT INTO \(table) (\(names)) SELECT * FROM unnest(", columns: inserted, after: ")")
        upsertion = Statement(
            before: insertion.before, columns: inserted,
            after: ") ON CONFLICT (\(list(key) { $0 })) DO UPDATE SET \(list(changed) { "\($0) = EXCLUDED.\($0)" })")
        let isSame = key.map { "\(alias).\($0.name) = n.\($0.name)" }.joined(separator: " AND ")
        update = Statement(
            before: "UPDATE \(table) \(alias) SET \(list(changed) { "\($0) = n.\($0)" }) FROM unnest(",
            columns: key + changed, after: ") n (\(list(key + changed) { $0 })) WHERE \(isSame)")
    }

    func insert(_ values: [Column.Value]) -> SQL { insertion.sql(values) }
    func update(_ values: [Column.Value]) -> SQL { update.sql(values) }
    /// Inserts, or changes the rows that exist.
    func upsert(_ values: [Column.Value]) -> SQL { upsertion.sql(values) }
}

enum MessageColumn: Int, Columns {
    case id, roomID, senderID, seq, changeSeq, content, contentType, messageType, parentMessageID, forwardedFrom, sign,
        status, fileName, fileSize, fileContentType, fileThumbnail, reactions, editedAt, deletedAt, createdAt,
        fileMedia, pinnedAt, metadata

    static let table = Table<Self>(
        "messages", as: "m", key: [.id],
        fixed: [.roomID, .senderID, .contentType, .messageType, .parentMessageID, .forwardedFrom])

    func stored(of messages: [Message]) -> PGValue {
        switch self {
        case .id: .uuids(messages.map(\.id))
        case .roomID: .uuids(messages.map(\.roomID))
        case .senderID: .uuids(messages.map(\.senderID))
        case .seq: .int8s(messages.map(\.seq))
        case .changeSeq: .int8s(messages.map(\.changeSeq))
        case .content: .texts(messages.map(\.content))
        case .contentType: .int2s(messages.map(\.contentType.rawValue))
        case .messageType: .int2s(messages.map(\.messageType.rawValue))
        case .parentMessageID: .uuids(messages.map(\.parentMessageID))
        case .forwardedFrom: .uuids(messages.map(\.forwardedFrom))
        case .sign: .texts(messages.map(\.sign))
        case .status: .int2s(messages.map(\.status.rawValue))
        case .fileName: .texts(messages.map(\.file?.name))
        case .fileSize: .int8s(messages.map(\.file?.size))
        case .fileContentType: .texts(messages.map(\.file?.contentType))
        case .fileThumbnail: .texts(messages.map(\.file?.thumbnailURL))
        case .reactions: .jsonbs(messages.map(\.reactions.json))
        case .editedAt: .times(messages.map(\.editedAt))
        case .deletedAt: .times(messages.map(\.deletedAt))
        case .createdAt: .times(messages.map(\.createdAt))
        case .fileMedia: .jsonbs(messages.map(\.file?.media?.json))
        case .pinnedAt: .times(messages.map(\.pinnedAt))
        case .metadata: .jsons(messages.map(\.metadata?.text))
        }
    }
}

enum RoomColumn: Int, Columns {
    case id, type, name, description, avatar, ownerID, memberCount, memberLimit, lastSeq, messageCount, lastMessageSeq,
        lastActivityAt, createdAt, createdBy, createdSign, deletedAt, epoch, metadata, slowModeSeconds

    /// Only `fcgi-api epoch bump`, after a restore, changes `epoch`.
    static let table = Table<Self>(
        "rooms", as: "r", key: [.id], fixed: [.type, .createdAt, .createdBy, .createdSign, .epoch],
        defaulted: [.deletedAt, .epoch])

    func stored(of rooms: [Room]) -> PGValue {
        switch self {
        case .id: .uuids(rooms.map(\.id))
        case .type: .int2s(rooms.map(\.type.rawValue))
        case .name: .texts(rooms.map(\.name))
        case .description: .texts(rooms.map(\.description))
        case .avatar: .texts(rooms.map(\.avatar))
        case .ownerID: .uuids(rooms.map(\.ownerID))
        case .memberCount: .int4s(rooms.map { Int32($0.memberCount) })
        case .memberLimit: .int4s(rooms.map { $0.memberLimit.map { Int32($0) } })
        case .lastSeq: .int8s(rooms.map(\.lastSeq))
        case .messageCount: .int8s(rooms.map(\.messageCount))
        case .lastMessageSeq: .int8s(rooms.map(\.lastMessageSeq))
        case .lastActivityAt: .times(rooms.map(\.lastActivityAt))
        case .createdAt: .times(rooms.map(\.createdAt))
        case .createdBy: .uuids(rooms.map(\.createdBy))
        case .createdSign: .texts(rooms.map(\.createdSign))
        case .deletedAt: .times(rooms.map(\.deletedAt))
        case .epoch: .int8s(rooms.map(\.epoch))
        case .metadata: .jsons(rooms.map(\.metadata?.text))
        case .slowModeSeconds: .int4s(rooms.map { Int32(clamping: $0.slowModeSeconds) })
        }
    }
}

enum MemberColumn: Int, Columns {
    case roomID, userID, role, lastSeenSeq, seenCount, seenSentCount, sentCount, mutedUntil, bannedAt, joinedAt,
        joinedSeq, leftAt, metadata, lastSentAt

    static let table = Table<Self>("members", as: "p", key: [.roomID, .userID])

    func stored(of members: [Member]) -> PGValue {
        switch self {
        case .roomID: .uuids(members.map(\.roomID))
        case .userID: .uuids(members.map(\.userID))
        case .role: .int2s(members.map(\.role.rawValue))
        case .lastSeenSeq: .int8s(members.map(\.lastSeenSeq))
        case .seenCount: .int8s(members.map(\.seenCount))
        case .seenSentCount: .int8s(members.map(\.seenSentCount))
        case .sentCount: .int8s(members.map(\.sentCount))
        case .mutedUntil: .times(members.map(\.mutedUntil))
        case .bannedAt: .times(members.map(\.bannedAt))
        case .joinedAt: .times(members.map(\.joinedAt))
        case .joinedSeq: .int8s(members.map(\.joinedSeq))
        case .leftAt: .times(members.map(\.leftAt))
        case .metadata: .jsons(members.map(\.metadata?.text))
        case .lastSentAt: .times(members.map(\.lastSentAt))
        }
    }
}

enum InvitationColumn: Int, Columns {
    case id, roomID, token, createdBy, sign, expiresAt, maxUses, uses, createdAt, revokedAt

    static let table = Table<Self>(
        "invitations", as: "i", key: [.id],
        fixed: [.roomID, .token, .createdBy, .sign, .expiresAt, .maxUses, .createdAt])

    func stored(of invitations: [Invitation]) -> PGValue {
        switch self {
        case .id: .uuids(invitations.map(\.id))
        case .roomID: .uuids(invitations.map(\.roomID))
        case .token: .texts(invitations.map(\.token))
        case .createdBy: .uuids(invitations.map(\.createdBy))
        case .sign: .texts(invitations.map(\.sign))
        case .expiresAt: .times(invitations.map(\.expiresAt))
        case .maxUses: .int4s(invitations.map { $0.maxUses.map { Int32($0) } })
        case .uses: .int4s(invitations.map { Int32($0.uses) })
        case .createdAt: .times(invitations.map(\.createdAt))
        case .revokedAt: .times(invitations.map(\.revokedAt))
        }
    }
}
