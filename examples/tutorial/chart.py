"""Draw the number of conversations that each agent has in each inbox."""

import matplotlib.pyplot as plt
import pandas as pd

conversations = pd.read_parquet("conversations.parquet", columns=["inbox_name", "handled_by_name"])
# Without fillna, crosstab leaves out conversations that have no agent or no inbox.
agent = conversations["handled_by_name"].fillna("(nobody)")
inbox = conversations["inbox_name"].fillna("(none)")
# The default font of matplotlib has no emoji.
agent = agent.str.replace("[\U00010000-\U0010ffff]", "", regex=True).str.strip()
counts = pd.crosstab(agent, inbox)

axes = counts.plot.barh(stacked=True, figsize=(8, 4.5), xlabel="conversations", ylabel="")
axes.invert_yaxis()  # so that the first name is at the top
axes.legend(title="", fontsize="small")
plt.savefig("agents.png", bbox_inches="tight")
print("agents.png:", len(counts), "agents,", len(counts.columns), "inboxes")
