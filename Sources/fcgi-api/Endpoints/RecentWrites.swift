import ChatCore
import Glibc
import Synchronization

/// The time of each user's last write, shared by all workers of this machine: a mapped file in RUN_DIR.
///
/// Several users share a cell. A collision only sends a read to the primary without need: a later time replaces an
/// earlier one, never the reverse.
final class RecentWrites {
    private static let cells = 8192
    private static let bytes = cells * 8
    private let base: UnsafeMutableRawPointer

    /// - Returns: nil when all reads go to the primary.
    convenience init?(_ settings: Settings) throws {
        guard settings.database.readURL != settings.database.url else { return nil }
        try self.init(path: "\(settings.runDirectory)/fcgi-api.writes")
    }

    /// - Throws: ``SettingsError`` when the file cannot be created.
    init(path: String) throws {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0, ftruncate(file, off_t(RecentWrites.bytes)) == 0,
            let mapped = mmap(nil, RecentWrites.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
            mapped != MAP_FAILED
        else { throw SettingsError(problems: ["\(path) cannot be made: check that RUN_DIR may be written"]) }
        close(file)
        base = mapped
    }

    deinit { munmap(base, RecentWrites.bytes) }

    /// User ids may be UUIDs of any version; the low bits of both halves together are spread well enough.
    private func cell(_ user: UUID128) -> UnsafeMutablePointer<Atomic<Int64>> {
        let index = Int((user.low ^ user.high &* 0x9E37_79B9_7F4A_7C15) >> 32 % UInt64(RecentWrites.cells))
        return base.advanced(by: index * 8).assumingMemoryBound(to: Atomic<Int64>.self)
    }

    func record(_ user: UUID128, at time: Int64) { _ = cell(user).pointee.max(time, ordering: .relaxed) }
    func hasWritten(_ user: UUID128, since time: Int64) -> Bool { cell(user).pointee.load(ordering: .relaxed) >= time }
}
