import ChatCore
import Logging

extension RoomBatchStore {
    func execute(_ commands: [Command], now: Int64) throws -> ExecutedBatch {
        try ExecuteBatch(
            store: self, limits: Scene.limits, clock: { now },
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ).together(commands)
    }
}
